"""What the service says, as its OpenAPI page tells it."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _storable(text: str) -> str:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("a zero byte or half a letter is no text")
    return text


Stored = Annotated[str, AfterValidator(_storable)]


class Ranked(BaseModel):
    name: str
    probability: float


class Pictured(BaseModel):
    """One picture's prediction."""

    image: int = Field(description="its place in the request, from 0")
    sha256: str = Field(description="of the picture's file")
    predicted: str
    probability: float
    top: list[Ranked] = Field(description="the most probable classes, best first")
    openness: float | None = Field(
        description="how unlike it is to all that was trained on, 0 to 1; null: not measured"
    )


class Answer(BaseModel):
    request_id: str = Field(description="under which each picture is logged")
    version: str = Field(description="of the model: run folder @ hash of its weights")
    seconds: float
    images: list[Pictured]


class ModelTold(BaseModel):
    version: str
    run: str
    sha256: str = Field(description="of model.safetensors")
    network: str
    class_names: list[str]
    transform: dict[str, str | int] = Field(description="what a picture goes through")
    crop: str = Field(description="box: trained on cars cut out; give it such pictures")
    weights: str = Field(description="that its training began with")
    weights_license: str | None
    weights_source: dict[str, str]


class Reason(BaseModel):
    detail: str


class EvaluationGiven(BaseModel):
    """The true class of a picture that was predicted."""

    model_config = ConfigDict(extra="forbid")  # imgae would be picture 0

    request_id: Stored = Field(max_length=64)
    image: int = Field(0, ge=0, lt=1_000_000)
    true_class: Stored = Field(max_length=1000)
    who: Stored = Field(max_length=200)
    note: Stored = Field("", max_length=10_000)


class RefusedRow(BaseModel):
    row: int = Field(description="its place in the list, from 0")
    reason: str


class EvaluationsTold(BaseModel):
    kept: int
    refused: list[RefusedRow]


PICTURES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "images": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""The body of a prediction, which is read by hand: its size is limited while it arrives."""
