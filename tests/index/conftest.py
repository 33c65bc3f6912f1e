"""The tests that all databases share run for every way of ranking and every kind of id of each."""

from stores import StoreTests


def pytest_generate_tests(metafunc):
    """Give a `StoreTests` its class's ways and kinds of ids."""
    if metafunc.cls is not None and issubclass(metafunc.cls, StoreTests):
        for name, of in (("way", "ways"), ("unit_way", "unit"), ("kind", "names")):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, list(getattr(metafunc.cls, of)))
        if "pair" in metafunc.fixturenames:  # every way and every kind of id, not each with each
            ways, kinds = list(metafunc.cls.ways), list(metafunc.cls.names)
            pairs = [(ways[n % len(ways)], kinds[n % len(kinds)]) for n in range(max(len(ways), len(kinds)))]
            metafunc.parametrize("pair", pairs, ids="-".join)
