"""A platform: asks a host to open a target, and prints the URL for the client. See docs/platform.md.

Not named platform.py: Python's own library imports a module of that name.
"""
import argparse, asyncio, hashlib, json, pathlib, secrets, sys, time
import jwt, nats, nats.errors

def ulid(now):
    """48 bits of milliseconds and 80 random bits, in Crockford's base32."""
    number = int(now * 1000) << 80 | secrets.randbits(80)
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> shift & 31] for shift in range(125, -1, -5))

async def silent(error):
    """What nats-py would print of its tries; the last error is told by main."""

async def main(args):
    # Your policy goes here: may this user open args.target on args.host?
    token, now = secrets.token_urlsafe(32), time.time()
    claims = {
        "iss": "tiny-platform", "aud": f"host:{args.host}", "sid": ulid(now),
        "iat": int(now), "exp": int(now) + 30, "target": args.target, "relay": args.relay,
        "token_sha256": hashlib.sha256(token.encode()).hexdigest(), "user": args.user,
    }
    headers = {"typ": "stream-grant+jwt", "kid": args.key.stem}
    grant = jwt.encode(claims, args.key.read_bytes(), algorithm="EdDSA", headers=headers)
    command = json.dumps({"v": 1, "grant": grant, "answer_within_ms": 4000}).encode()
    try:
        once = {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0, "error_cb": silent}
        bus = await nats.connect(args.nats, user_credentials=args.creds, connect_timeout=5, **once)
    except (OSError, nats.errors.Error) as error:
        sys.exit(f"NATS at {args.nats}: {error}")
    try:
        answer = json.loads((await bus.request(f"stream.v1.host.{args.host}.start", command, timeout=5)).data)
    except nats.errors.NoRespondersError:
        sys.exit(f"no agent answers for host {args.host}: is the id right, and stream-agent running?")
    except nats.errors.TimeoutError:
        sys.exit(f"host {args.host} is connected, but did not answer in time: is it overloaded?")
    finally:
        await bus.close()
    if not answer["ok"]:
        sys.exit(f"host {args.host} refuses: {answer['message']} ({answer['code']})")
    print(f"{args.relay}/v1/stream/{token}")

parser = argparse.ArgumentParser(description="Ask a host to open a target; print the URL for the client.")
parser.add_argument("--nats", required=True, help="such as nats://127.0.0.1:4222")
parser.add_argument("--creds", help="NATS credentials file")
parser.add_argument("--key", required=True, type=pathlib.Path, help="KID.pem of `stream-relay keygen issuer`")
parser.add_argument("--relay", required=True, help="as in the relay's public_urls and the host's relay.allow")
parser.add_argument("--user", help="for the audit")
parser.add_argument("host")
parser.add_argument("target")
asyncio.run(main(parser.parse_args()))
