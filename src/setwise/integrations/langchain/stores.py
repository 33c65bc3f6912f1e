"""How each LangChain vector store gives back the vectors it keeps, so that no text is embedded twice."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from setwise.integrations.langchain.documents import document_id


class StoreReader:
    """What a store can do beside searching; subclass it for one that is not known here, and `register` it."""

    def vectors(self, store: Any, documents: Sequence[Document]) -> Sequence[Any]:
        """Return the stored vector of each document, None where there is none."""
        raise NotImplementedError

    def ids(self, store: Any, ids: Sequence[Any]) -> list[Any]:
        """Return what ``store.get_by_ids`` calls the ids of an index over the same data."""
        return [str(one) for one in ids]

    def search_options(self, store: Any, filter: Any) -> dict[str, Any]:
        """Return keywords without which the store's search would not see all that the filter allows."""
        return {}


class InMemoryReader(StoreReader):
    """``InMemoryVectorStore`` keeps its vectors beside the texts."""

    def vectors(self, store: Any, documents: Sequence[Document]) -> Sequence[Any]:
        return [store.store.get(document.id, {}).get("vector") for document in documents]


class FaissReader(StoreReader):
    """A store that keeps a FAISS index and says which document each position is (langchain-community)."""

    def __init__(self) -> None:
        self._places: weakref.WeakKeyDictionary[Any, dict[Any, int]] = weakref.WeakKeyDictionary()

    def vectors(self, store: Any, documents: Sequence[Document]) -> Sequence[Any]:
        names = store.index_to_docstore_id
        places = self._places.get(store, {})
        if any(names.get(places.get(document.id)) != document.id for document in documents):
            places = {name: place for place, name in names.items()}
            self._places[store] = places
        rows = [places.get(document.id) for document in documents]
        try:
            return [None if row is None else store.index.reconstruct(row) for row in rows]
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"vectorstore: this {type(store.index).__name__} does not give vectors back ({reason}); call "
                "its make_direct_map() where it has one, or pass index="
            ) from error

    def ids(self, store: Any, ids: Sequence[Any]) -> list[Any]:
        return [one if isinstance(one, str) else store.index_to_docstore_id[int(one)] for one in ids]

    def search_options(self, store: Any, filter: Any) -> dict[str, Any]:
        return {} if filter is None else {"fetch_k": int(store.index.ntotal)}


class QdrantReader(StoreReader):
    """``QdrantVectorStore`` (langchain-qdrant) asks its client."""

    def vectors(self, store: Any, documents: Sequence[Document]) -> Sequence[Any]:
        names = [document_id(document) for document in documents]
        known = [name for name in names if name is not None]
        points = store.client.retrieve(
            store.collection_name,
            known,
            with_payload=False,
            with_vectors=[store.vector_name] if store.vector_name else True,
        )
        found = {str(point.id): point.vector for point in points}
        rows = [found.get(str(name)) for name in names]
        return [row.get(store.vector_name) if isinstance(row, dict) else row for row in rows]

    def ids(self, store: Any, ids: Sequence[Any]) -> list[Any]:
        return [one if isinstance(one, str) else int(one) for one in ids]


class ChromaReader(StoreReader):
    """``Chroma`` (langchain-chroma) asks its collection."""

    def vectors(self, store: Any, documents: Sequence[Document]) -> Sequence[Any]:
        names = [document_id(document) for document in documents]
        known = [str(name) for name in names if name is not None]
        if not known:  # which Chroma refuses to be asked for
            return [None] * len(names)
        kept = store._collection.get(ids=known, include=["embeddings"])
        found = dict(zip(kept["ids"], kept["embeddings"], strict=True))
        return [found.get(str(name)) for name in names]


_READERS: list[tuple[Callable[[Any], bool], StoreReader]] = [
    (lambda store: isinstance(store, InMemoryVectorStore), InMemoryReader()),
    (lambda store: hasattr(store, "index_to_docstore_id") and hasattr(store, "index"), FaissReader()),
    (lambda store: type(store).__name__ == "Chroma" and hasattr(store, "_collection"), ChromaReader()),
    (lambda store: hasattr(store, "vector_name") and hasattr(store, "client"), QdrantReader()),
]


def register(store: type | Callable[[Any], bool], reader: StoreReader) -> None:
    """Say how a kind of store is read. What is registered last is asked first.

    Parameters
    ----------
    store : type or callable
        A class, or a function that says of a store whether this reader is for it.
    reader : StoreReader

    Raises
    ------
    TypeError
        `reader` is not a `StoreReader`.
    """
    if not isinstance(reader, StoreReader):
        raise TypeError(f"reader: expected a StoreReader, got {type(reader).__name__}")
    if isinstance(store, type):
        kind = store
        _READERS.insert(0, (lambda one: isinstance(one, kind), reader))
    else:
        _READERS.insert(0, (store, reader))


def reader_of(store: VectorStore | None) -> StoreReader | None:
    """Return the reader for a store, None where none is registered."""
    if store is None:
        return None
    return next((reader for matches, reader in _READERS if matches(store)), None)


def searches_by_vector(store: VectorStore | None) -> bool:
    """Return whether a store has a search by vector of its own, with or without an event loop."""
    names = ("similarity_search_by_vector", "asimilarity_search_by_vector")
    return any(getattr(type(store), name, None) is not getattr(VectorStore, name) for name in names)


def stored(store: VectorStore | None, documents: Sequence[Document]) -> list[Any]:
    """Return the vector that a store keeps of each document, None where it gives none back."""
    reader = reader_of(store)
    return [None] * len(documents) if reader is None else list(reader.vectors(store, documents))
