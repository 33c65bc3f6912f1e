"""The tests that all databases share run for every way of ranking and every kind of id of each."""

from stores import StoreTests


def pytest_generate_tests(metafunc):
    """Give a `StoreTests` its class's ways and kinds of ids."""
    if metafunc.cls is not None and issubclass(metafunc.cls, StoreTests):
        for name, of in (("way", "ways"), ("unit_way", "unit"), ("kind", "names")):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, list(getattr(metafunc.cls, of)))
