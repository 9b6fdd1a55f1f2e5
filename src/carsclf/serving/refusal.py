"""Why a request is not answered with a prediction."""


class Refusal(Exception):
    """An HTTP status with its reason; 503 says when to come again."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"} if self.status == 503 else {}
