"""Pictures in rows with a line of text below each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from carsclf.files import AnyPath


def contact_sheet(
    pictures: Sequence[np.ndarray], labels: Sequence[str], path: AnyPath, *, columns: int = 6
) -> None:
    """Writes a PNG of (height, width, 3) uint8 pictures of one size, labelled, row by row."""
    height, width = pictures[0].shape[:2]
    size = max(9, width // 16)
    font, line = ImageFont.load_default(size=size), round(size * 1.25)
    gap, text = 8, 2 * line
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    size = (columns * (width + gap) + gap, rows * (height + text + gap) + gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x = gap + i % columns * (width + gap)
        y = gap + i // columns * (height + text + gap)
        sheet.paste(Image.fromarray(picture), (x, y))
        for n, words in enumerate(_wrap(label, width, font)):
            draw.text((x, y + height + 2 + n * line), words, fill="#333333", font=font)
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _wrap(label: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """At most two lines that fit the width; what is longer is cut."""
    lines = [""]
    for word in label.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines if len(lines) <= 2 else [lines[0], lines[1] + " ..."]
