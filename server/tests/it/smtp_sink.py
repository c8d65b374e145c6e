"""A mail server: smtp_sink.py starttls|plain|busy CERTIFICATE KEY. Prints its port, then each mail as JSON.

`plain` offers no STARTTLS; `busy` refuses the first mail for now. Ends with its standard input."""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, certificate, key = sys.argv[1:4]


class Sink:
    refusals = 1 if mode == "busy" else 0

    async def handle_DATA(self, server, session, envelope):
        if Sink.refusals:
            Sink.refusals -= 1
            return "451 busy, try later"
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "user": session.auth_data,
            "text": envelope.content.decode(),
        }
        print(json.dumps(mail), flush=True)
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    known = (data.login, data.password) == (b"fleet", b"mail-secret")
    return AuthResult(success=known, handled=False, auth_data=data.login.decode())


def connection():
    if mode == "plain":
        return SMTP(Sink(), hostname="localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return SMTP(
        Sink(),
        hostname="localhost",
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
