"""Uses a Chroma server as this virtual environment's own client does, and prints what worked, as JSON.

    python check.py HOST PORT     CHECK_SCHEME=https CHECK_CA=file CHECK_TOKEN=secret: for a protected server

Runs with any `chromadb` or `chromadb-client` since 0.6, so it keeps to what all of them have. Each check is on its own:
one that fails does not hide the others. Called by chroma_qualify.workload.compatibility, and by hand.
"""

import contextlib
import io
import json
import os
import sys
import traceback
import uuid

import chromadb
from chromadb.config import Settings

IDS = ["a", "b", "c", "d"]
VECTORS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.7, 0.7, 0.0]]
METADATAS = [{"number": n, "even": n % 2 == 0, "word": word} for n, word in enumerate(("one", "two", "three", "four"))]
DOCUMENTS = ["a walrus on the ice", "a heron in the reeds", "a badger in its sett", "a newt in the pond"]


class NotTriedError(Exception):
    """What a check needs is not there, because an earlier one failed."""


class Checks:
    """The checks, in order: every public method, with its docstring as its name."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.name = f"client-check-{uuid.uuid4().hex[:12]}"
        self._client = None
        self._collection = None

    @property
    def client(self):
        if self._client is None:
            raise NotTriedError("there is no client")
        return self._client

    @property
    def collection(self):
        if self._collection is None:
            raise NotTriedError("there is no collection")
        return self._collection

    def settings(self, **more):
        token = os.environ.get("CHECK_TOKEN")
        ca = os.environ.get("CHECK_CA")
        if token:
            more["chroma_client_auth_provider"] = "chromadb.auth.token_authn.TokenAuthClientProvider"
            more["chroma_client_auth_credentials"] = token
            more["chroma_auth_token_transport_header"] = "Authorization"  # noqa: S105 (a header's name)
        if ca:
            more["chroma_server_ssl_verify"] = ca
        return Settings(anonymized_telemetry=False, **more)

    def ssl(self):
        return os.environ.get("CHECK_SCHEME") == "https"

    def connect(self):
        """connect"""
        self._client = chromadb.HttpClient(host=self.host, port=self.port, ssl=self.ssl(), settings=self.settings())

    def heartbeat(self):
        """heartbeat"""
        assert self.client.heartbeat() > 0

    def create(self):
        """create a collection"""
        self._collection = self.client.create_collection(
            self.name, metadata={"hnsw:space": "cosine"}, embedding_function=None
        )
        assert self.collection.name == self.name

    def add(self):
        """add"""
        self.collection.add(ids=IDS, embeddings=VECTORS, metadatas=METADATAS, documents=DOCUMENTS)

    def get(self):
        """get"""
        got = self.collection.get(include=["embeddings", "metadatas", "documents"])
        order = [got["ids"].index(id_) for id_ in IDS]
        assert [got["documents"][n] for n in order] == DOCUMENTS
        assert [got["metadatas"][n] for n in order] == METADATAS
        for row, vector in zip(order, VECTORS, strict=True):
            assert all(abs(x - y) < 1e-5 for x, y in zip(got["embeddings"][row], vector, strict=True))

    def query(self):
        """query"""
        answer = self.collection.query(query_embeddings=[[1.0, 0.1, 0.0]], n_results=2)
        assert answer["ids"] == [["a", "d"]], answer["ids"]
        assert answer["distances"][0][0] < answer["distances"][0][1]

    def where(self):
        """filter by metadata"""
        got = self.collection.get(where={"$and": [{"number": {"$gte": 1}}, {"word": {"$in": ["two", "four"]}}]})
        assert sorted(got["ids"]) == ["b", "d"], got["ids"]

    def where_document(self):
        """filter by document"""
        got = self.collection.get(where_document={"$contains": "badger"})
        assert got["ids"] == ["c"], got["ids"]

    def update(self):
        """update"""
        self.collection.update(ids=["a"], metadatas=[{"word": "uno"}])
        assert self.collection.get(ids=["a"])["metadatas"][0]["word"] == "uno"

    def upsert(self):
        """upsert"""
        self.collection.upsert(ids=["d", "e"], embeddings=[VECTORS[3], [0.5, 0.5, 0.5]], documents=["new", "newer"])
        assert sorted(self.collection.get()["ids"]) == [*IDS, "e"]

    def delete(self):
        """delete"""
        self.collection.delete(ids=["e"])
        self.collection.delete(where={"word": "three"})
        assert sorted(self.collection.get()["ids"]) == ["a", "b", "d"]

    def count(self):
        """count"""
        assert self.collection.count() == 3

    def peek(self):
        """peek"""
        assert len(self.collection.peek(limit=2)["ids"]) == 2

    def metadata_types(self):
        """types of metadata values"""
        kinds = {"text": "é ☃", "whole": 2**40, "real": 0.25, "yes": True, "no": False}
        self.collection.upsert(ids=["kinds"], embeddings=[[1.0, 1.0, 1.0]], metadatas=[kinds])
        got = self.collection.get(ids=["kinds"])["metadatas"][0]
        assert got == kinds, got
        assert {key: type(value) for key, value in got.items()} == {key: type(value) for key, value in kinds.items()}

    def list(self):
        """list collections"""
        names = [getattr(each, "name", each) for each in self.client.list_collections()]
        assert self.name in names

    def embedding_function(self):
        """embedding function is remembered"""
        register()
        other = self.client.create_collection(f"{self.name}-ef", embedding_function=Lengths(3))
        other.add(ids=["x"], documents=["four"])
        again = self.client.get_collection(f"{self.name}-ef")
        again.add(ids=["y"], documents=["seven"])
        got = again.get(ids=["y"], include=["embeddings"])["embeddings"][0]
        self.client.delete_collection(f"{self.name}-ef")
        assert list_of(got) == [15.0, 1.0], list_of(got)

    def modify(self):
        """rename a collection"""
        self.collection.modify(name=f"{self.name}-renamed")
        assert self.client.get_collection(f"{self.name}-renamed", embedding_function=None).count() == 4
        self.collection.modify(name=self.name)

    def tenants(self):
        """tenants and databases"""
        admin = chromadb.AdminClient(
            self.settings(
                chroma_api_impl="chromadb.api.fastapi.FastAPI",
                chroma_server_host=self.host,
                chroma_server_http_port=self.port,
                chroma_server_ssl_enabled=self.ssl(),
            )
        )
        tenant, database = f"{self.name}-t", f"{self.name}-d"
        admin.create_tenant(tenant)
        admin.create_database(database, tenant)
        there = chromadb.HttpClient(
            host=self.host, port=self.port, ssl=self.ssl(), settings=self.settings(), tenant=tenant, database=database
        )
        there.create_collection(self.name, embedding_function=None)
        assert there.count_collections() == 1
        assert there.get_collection(self.name, embedding_function=None).count() == 0

    def errors(self):
        """errors by their types"""
        collection = self.collection
        expect("NotFoundError", lambda: self.client.get_collection(f"{self.name}-none"))
        expect("Exception", lambda: self.client.create_collection(self.name, embedding_function=None))
        expect("InvalidArgumentError", lambda: collection.add(ids=["z"], embeddings=[[1.0, 2.0]]))

    def delete_collection(self):
        """delete a collection"""
        self.client.delete_collection(self.name)
        expect("Exception", lambda: self.client.get_collection(self.name, embedding_function=None))


class Lengths(chromadb.EmbeddingFunction):
    """An embedding function of our own."""

    def __init__(self, scale=1):
        self.scale = scale

    def __call__(self, input):  # noqa: A002 (chromadb's own name)
        return [[float(len(text) * self.scale), 1.0] for text in input]

    @staticmethod
    def name():
        return "client-check-lengths"

    def get_config(self):
        return {"scale": self.scale}

    @staticmethod
    def build_from_config(config):
        return Lengths(**config)


def register():
    from chromadb.utils.embedding_functions import register_embedding_function

    register_embedding_function(Lengths)  # no decorator: that of 1.0.0 gives nothing back


def list_of(values):
    return [float(value) for value in values]


def expect(name, call):
    """The call must raise an error of that name, or one derived from it."""
    raised: Exception | None = None
    try:
        call()
    except Exception as error:  # noqa: BLE001 (that is the question)
        raised = error
    assert raised is not None, f"nothing was raised where {name} was expected"
    names = {kind.__name__ for kind in type(raised).__mro__}
    assert name in names, f"{name} expected, raised was {type(raised).__name__}: {raised}"


def attempt(check) -> dict[str, object]:
    """One check, and what became of it."""
    try:
        check()
    except NotTriedError as error:
        return {"name": check.__doc__, "ok": False, "error": f"not tried: {error}"}
    except Exception as error:  # noqa: BLE001 (whatever the client raises is what is asked)
        where = traceback.extract_tb(error.__traceback__)[-1].line or ""
        told = str(error) or where
        return {"name": check.__doc__, "ok": False, "error": f"{type(error).__name__}: {told}"[:300]}
    return {"name": check.__doc__, "ok": True, "error": ""}


def main() -> int:
    checks = Checks(sys.argv[1], int(sys.argv[2]))
    names = [name for name, value in vars(Checks).items() if name[0] != "_" and getattr(value, "__doc__", None)]
    # Other clients' checks run beside: whoever lists their collections builds these functions, too, in some versions.
    with contextlib.suppress(ImportError):
        register()
    with contextlib.redirect_stdout(io.StringIO()):  # what the client prints itself
        results = [attempt(getattr(checks, name)) for name in names]
    print(json.dumps({"client": chromadb.__version__, "checks": results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
