import numpy as np, warnings
warnings.filterwarnings("ignore")
import datumaro as dm
from datumaro.components.media import Image
from datumaro.components.annotation import Label
def item(i, name, label, **kw):
    img = np.full((4,4,3), i, np.uint8)
    anns=[] if label is None else [Label(label)]
    return dm.DatasetItem(id=name, subset="default", media=Image.from_numpy(data=img, ext=".png"), annotations=anns, attributes=kw)
items=[item(0,"pool/img_0",0),item(1,"pool/img 1",1),item(2,"pool/img_2",None),item(3,"pool/sub/img_3",2)]
ds=dm.Dataset.from_iterable(items, categories=["cat","dog","other, mixed"])
for fmt,save in [("cvat",False),("imagenet_txt",False),("datumaro",True),("datumaro",False),("imagenet",True)]:
    try:
        ds.export(f"out/{fmt}_{save}", fmt, save_media=save)
        print("ok",fmt)
    except Exception as e: print(fmt,type(e),e)
