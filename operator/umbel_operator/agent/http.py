"""/healthz and /metrics, for the silo that runs the agent."""

from __future__ import annotations

from aiohttp import web

from umbel_operator.agent.agent import Agent
from umbel_operator.agent.metrics import Metrics


async def serve(agent: Agent, metrics: Metrics, host: str, port: int) -> web.AppRunner:
    """Listens until the runner is cleaned up. Raises OSError when the port is taken."""

    async def healthz(_: web.Request) -> web.Response:
        healthy = agent.healthy()
        return web.Response(text="ok\n" if healthy else "stuck\n", status=200 if healthy else 503)

    async def numbers(_: web.Request) -> web.Response:
        agent.count()
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", numbers)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
