"""Checks access tokens of the server with PyJWT and jwcrypto, and forges others with them.

verifiers.py check TOKEN JWKS ISSUER AUDIENCE NOW   prints the claims, which both must read alike
verifiers.py forge TOKEN JWKS NOW                   prints forged tokens: {name: token}
"""

import base64
import json
import sys

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from jwcrypto import jwk, jws


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def with_pyjwt(token, keys, issuer, audience):
    header = jwt.get_unverified_header(token)
    key = next(key for key in keys["keys"] if key["kid"] == header["kid"])
    public = jwt.PyJWK(key).key
    # The server's clock is the test's; times are compared by the caller.
    options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False,
               "require": ["exp", "iat", "nbf", "iss", "aud", "sub", "jti"]}
    return jwt.decode(token, public, algorithms=[key["alg"]], issuer=issuer, audience=audience,
                      options=options)


def with_jwcrypto(token, keys):
    keyset = jwk.JWKSet.from_json(json.dumps(keys))
    message = jws.JWS()
    message.deserialize(token)
    key = keyset.get_key(message.jose_header["kid"])
    message.verify(key)
    return json.loads(message.payload)


def check(token, keys, issuer, audience, now):
    first, second = with_pyjwt(token, keys, issuer, audience), with_jwcrypto(token, keys)
    assert first == second, (first, second)
    assert first["nbf"] <= now < first["exp"], (first, now)
    for wrong in ({"issuer": "https://evil.test", "audience": audience},
                  {"issuer": issuer, "audience": "another-api"}):
        try:
            with_pyjwt(token, keys, **wrong)
        except jwt.InvalidTokenError:
            continue
        raise AssertionError(f"{wrong} was accepted")
    print(json.dumps(first))


def forge(token, keys, now):
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    key = next(key for key in keys["keys"] if key["kid"] == header["kid"])
    public = jwt.PyJWK(key).key
    pem = public.public_bytes(serialization.Encoding.PEM,
                              serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER,
                              serialization.PublicFormat.SubjectPublicKeyInfo)
    own = rsa.generate_private_key(65537, 2048)
    own_jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key()))
    kid = {"kid": header["kid"], "typ": header["typ"]}

    def hs256(secret, extra=kid, claims=claims):
        # PyJWT refuses to sign with a public key, so the forger uses jwcrypto.
        message = jws.JWS(json.dumps(claims))
        message.add_signature(jwk.JWK(kty="oct", k=b64(secret)), None,
                              json.dumps({"alg": "HS256", **extra}), None)
        return message.serialize(compact=True)

    def rs256(extra, claims=claims):
        return jwt.encode(claims, own, algorithm="RS256", headers={**kid, **extra})

    unsigned = b64(json.dumps({"alg": "none", **kid}).encode()) + "." + token.split(".")[1] + "."
    print(json.dumps({
        "alg none": unsigned,
        "alg None": unsigned.replace(unsigned.split(".")[0],
                                     b64(json.dumps({"alg": "None", **kid}).encode())),
        "HS256 with the public key as PEM": hs256(pem),
        "HS256 with the public key as DER": hs256(der),
        "HS256 with the modulus": hs256(base64.urlsafe_b64decode(key["n"] + "==")),
        "HS256 with nothing": hs256(b""),
        "HS256 with the kid of the secret": hs256(b"x" * 32, {**kid, "kid": "secret"}),
        "another key": rs256({}),
        "another key brought along as jwk": rs256({"jwk": own_jwk}),
        "another key behind jku": rs256({"jku": "http://127.0.0.1:9/jwks.json"}),
        "another key behind x5u": rs256({"x5u": "http://127.0.0.1:9/chain.pem"}),
        "kid that is a path": rs256({"kid": "../../../../dev/null"}),
        "kid that is SQL": rs256({"kid": "x' UNION SELECT 'key' --"}),
        "another algorithm": jwt.encode(claims, ed25519.Ed25519PrivateKey.generate(),
                                        algorithm="EdDSA", headers=kid),
        "another role": ".".join([token.split(".")[0],
                                  b64(json.dumps({**claims, "role": "owner"}).encode()),
                                  token.split(".")[2]]),
    }))


def sign(secret, header, claims):
    """Any claims, signed as the server would with HS256."""
    message = jws.JWS(json.dumps(claims))
    message.add_signature(jwk.JWK(kty="oct", k=b64(secret.encode())), None, json.dumps(header), None)
    return message.serialize(compact=True)


def variants(secret, token, now):
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    changes = {
        "as it was": {},
        "aud as a list": {"aud": ["another", claims["aud"]]},
        "expired": {"exp": now - 1},
        "exp as text": {"exp": str(now + 900)},
        "exp as a fraction": {"exp": now + 900.5},
        "exp missing": {"exp": None},
        "exp endless": {"exp": 10**30},
        "iat in the future": {"iat": now + 3600},
        "nbf in the future": {"nbf": now + 3600},
        "iat missing": {"iat": None},
        "iss wrong": {"iss": "https://evil.test"},
        "iss missing": {"iss": None},
        "aud wrong": {"aud": "another-api"},
        "aud missing": {"aud": None},
        "sub of a device": {"sub": claims["sub"].replace("user_", "device_")},
        "sub of somebody else": {"sub": "user_01900000-0000-7000-8000-000000000009"},
        "sub missing": {"sub": None},
        "sid unknown": {"sid": "01900000-0000-7000-8000-000000000009"},
        "sid missing": {"sid": None},
        "jti missing": {"jti": None},
        "org of somebody else": {"org_id": "org_01900000-0000-7000-8000-000000000009"},
    }
    made = {}
    for name, change in changes.items():
        changed = {key: value for key, value in {**claims, **change}.items() if value is not None}
        made[name] = sign(secret, header, changed)
    print(json.dumps(made))


if __name__ == "__main__":
    what, args = sys.argv[1], sys.argv[2:]
    if what == "check":
        check(args[0], json.loads(args[1]), args[2], args[3], int(args[4]))
    elif what == "forge":
        forge(args[0], json.loads(args[1]), int(args[2]))
    else:
        variants(args[0], args[1], int(args[2]))
