"""Make a small OME-Zarr image of nuclei, as a microscope would see them. Run by a task environment's Python.

It is called as tasks are: `make_image.py --args-json FILE --out-json FILE`.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from ngio import create_ome_zarr_from_array

ROWS, SPACING = 6, 48
BACKGROUND, NOISE = 120, 15


def main() -> int:
    """Make the image that the arguments name; answers how many nuclei it shows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--args-json", type=Path, required=True)
    parser.add_argument("--out-json", type=Path, required=True)
    options = parser.parse_args()

    arguments = json.loads(options.args_json.read_text(encoding="utf-8"))
    image = create_ome_zarr_from_array(
        arguments["path"],
        nuclei()[np.newaxis],
        axes_names=("c", "y", "x"),
        channels_meta=[arguments["channel"]],
        pixelsize=0.65,
        levels=2,
        overwrite=True,
    )
    sys.stdout.write(f"{arguments['path']}: {image}\n")
    options.out_json.write_text(json.dumps({"nuclei": ROWS * ROWS}), encoding="utf-8")
    return 0


def nuclei() -> np.ndarray:
    """Bright ellipses on a noisy background, none of which touches another."""
    random = np.random.default_rng(seed=1)
    side = ROWS * SPACING
    y, x = np.mgrid[:side, :side]
    image = random.normal(BACKGROUND, NOISE, (side, side))
    for place in np.ndindex(ROWS, ROWS):
        middle_y, middle_x = (np.array(place) + 0.5) * SPACING + random.uniform(-8, 8, 2)
        height, width = random.uniform(7, 13, 2)
        distance = ((y - middle_y) / height) ** 2 + ((x - middle_x) / width) ** 2
        image += random.uniform(500, 900) * np.exp(-(distance**2))
    return image.round().clip(0, None).astype(np.uint16)


if __name__ == "__main__":
    sys.exit(main())
