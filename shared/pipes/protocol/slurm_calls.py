"""Asking the agent for what a command of SLURM says: a stream of output, with its end told after it."""

import msgspec

from shared.pipes.errors import PipeLost
from shared.pipes.protocol.answers import CommandEnd, CommandSaid
from shared.pipes.protocol.exchange import Exchange
from stoker.errors import Unavailable

TIMEOUT_SECONDS = 30
"""The agent ends a command after so long."""

LARGEST_OUTPUT_BYTES = 64 * 1024 * 1024


async def said(
    exchange: Exchange, verb: str, request: dict[str, object], timeout_seconds: int, slack_seconds: float
) -> CommandSaid:
    """Return all that it said. PipeLost when it is more than the agent may send."""
    silence = timeout_seconds + slack_seconds
    output = bytearray()
    async with exchange.call(verb, {**request, "timeout_seconds": timeout_seconds}, streams=True) as call:
        await call.answer(silence)
        async for chunk in exchange.chunks(call, silence):
            output += chunk
            if len(output) > LARGEST_OUTPUT_BYTES:
                raise PipeLost("the agent sent more of a command's output than it may")
    try:
        end = msgspec.json.decode(call.trailer or b"", type=CommandEnd)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Unavailable(f"the agent's answer makes no sense: {error}") from error
    return CommandSaid(end.exit_code, output.decode("utf-8", "replace"), end.stderr)
