"""Draw an image beside what a task found in it, as a PNG. Run by a task environment's Python.

It is called as tasks are: `draw_picture.py --args-json FILE --out-json FILE`.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from ngio import open_ome_zarr_container
from skimage.color import gray2rgb, label2rgb
from skimage.io import imsave
from skimage.util import img_as_ubyte

ZOOM = 2
GAP = 8


def main() -> int:
    """Draw what the arguments name; answers how many objects it shows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--args-json", type=Path, required=True)
    parser.add_argument("--out-json", type=Path, required=True)
    options = parser.parse_args()

    arguments = json.loads(options.args_json.read_text(encoding="utf-8"))
    container = open_ome_zarr_container(arguments["path"])
    pixels = np.squeeze(container.get_image().get_as_numpy(channel_selection=arguments["channel"]))
    label = np.squeeze(container.get_label(arguments["label"]).get_as_numpy())
    imsave(arguments["picture"], side_by_side(pixels, label), check_contrast=False)
    objects = int(np.unique(label[label > 0]).size)
    options.out_json.write_text(json.dumps({"objects": objects}), encoding="utf-8")
    return 0


def side_by_side(pixels: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The image in grey on the left, and each object in a colour of its own on the right."""
    grey = (pixels - pixels.min()) / np.ptp(pixels)
    gap = np.ones((grey.shape[0], GAP // ZOOM, 3))
    picture = np.hstack([gray2rgb(grey), gap, label2rgb(label, image=grey, bg_label=0, alpha=0.5)])
    return img_as_ubyte(picture.clip(0, 1).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))


if __name__ == "__main__":
    sys.exit(main())
