"""How the exports beside this file were made: `pip install datumaro==1.13.12`, then `python make.py`."""

import datumaro
import numpy as np
from datumaro.components.annotation import Label
from datumaro.components.media import Image

IMAGES = [("pool/img_0", 0), ("pool/img 1", 1), ("pool/img_2", None), ("pool/sub/img_3", 2)]


def item(number: int, name: str, label: int | None) -> datumaro.DatasetItem:
    pixels = Image.from_numpy(data=np.full((4, 4, 3), number, np.uint8), ext=".png")
    labels = [] if label is None else [Label(label)]
    return datumaro.DatasetItem(id=name, subset="default", media=pixels, annotations=labels)


everything = [item(number, name, label) for number, (name, label) in enumerate(IMAGES)]
dataset = datumaro.Dataset.from_iterable(everything, categories=["cat", "dog", "other, mixed"])
dataset.export("cvat", "cvat", save_media=False)
dataset.export("imagenet_txt", "imagenet_txt", save_media=False)
dataset.export("datumaro", "datumaro", save_media=True)
