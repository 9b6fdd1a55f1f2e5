"""The service in this process."""

from carsclf.machine.listening import answer, bound
from carsclf.serving.app import create_app
from carsclf.serving.service import Service
from carsclf.serving.settings import Settings

GRACE = 30  # seconds for what is being answered when the service is told to end


def serve_here(settings: Settings, host: str, port: int) -> None:
    """Answers until Ctrl-C or SIGTERM, then what is being asked, then ends."""
    service = Service(settings)
    listening = bound(host, port)
    app = create_app(lambda: service, settings.limits.request_bytes)
    shown = f"[{host}]" if ":" in host else host
    here = f"http://{shown}:{listening.getsockname()[1]}"
    said = (
        f"serving {service.deployment.current.version} on {here} (described on {here}/docs)\n"
        f"log: {service.log.database.shown}"
    )
    answer(app, listening, said, grace=GRACE)
