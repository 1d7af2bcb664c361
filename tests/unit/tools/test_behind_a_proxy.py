"""A token and TLS before Chroma, as the components `auth` and `tls` have it: who has them passes, nobody else does."""

from __future__ import annotations

import ssl

import pytest
import trustme
from chroma_tools import _target, backup, restore
from chroma_tools._chroma import Chroma, ChromaError
from chroma_tools._format import check
from passing_proxy import PassingProxy
from record_values import counted


class Guarded(PassingProxy):
    """HTTPS, and 401 without the token."""

    def __init__(self, port, authority):
        super().__init__(port)
        self.token = "first"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server.get_request = lambda: self._accepted(context)

    def _accepted(self, context):
        connection, address = self._server.socket.accept()
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle(self, handler, body):
        if handler.headers.get("authorization") != f"Bearer {self.token}":
            handler.reply(401, b"{}")
        else:
            super().handle(handler, body)


def test_backup_and_restore(empty, target, tmp_path, monkeypatch):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    token = tmp_path / "token"
    token.write_text("first\n")
    proxy = Guarded(empty.port, authority)
    monkeypatch.setenv("CHROMA_URL", f"https://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("CHROMA_CA_FILE", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("CHROMA_TOKEN_FILE", str(token))
    try:
        with Chroma.from_environment() as chroma:
            made = chroma.create_collection("guarded")
            chroma.upsert(made, counted(range(100)))
            backup.run(target, 2, ["default_tenant"])
            # The Secret is rotated: the next request has the new token.
            proxy.token = "second"
            token.write_text("second")
            chroma.delete_collection(made)
            restore.run(target, "latest")

        token.write_text("wrong")
        with pytest.raises(ChromaError, match=r"401 \(token missing or wrong\)"):
            backup.run(target, 2, ["default_tenant"])
        # A Secret that is not there is mounted as an empty directory.
        token.unlink()
        with pytest.raises(ChromaError, match="401"):
            backup.run(target, 2, ["default_tenant"])
        token.write_text("second")
        monkeypatch.delenv("CHROMA_CA_FILE")
        with pytest.raises(ChromaError, match="certificate verify failed"):
            backup.run(target, 2, ["default_tenant"])
        assert [check(target / name).records for name in _target.names(target)] == [100]
    finally:
        proxy.close()
