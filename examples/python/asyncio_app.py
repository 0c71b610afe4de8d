"""Many callers in one loop, as in a web application: `python asyncio_app.py [TARGET]`."""

import asyncio
import sys

from polserve import AsyncPolicyClient


async def main() -> None:
    async with AsyncPolicyClient(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051") as client:
        leans = [i / 100 for i in range(-10, 11)]
        answers = await asyncio.gather(*(client.act("cartpole", [0.0, 0.0, lean, 0.0]) for lean in leans))
    for lean, answer in zip(leans, answers):
        print(f"lean {lean:+.2f} rad: push {'right' if answer.action else 'left'}")


asyncio.run(main())
