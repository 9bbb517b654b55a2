"""A batch as a labeling tool takes it in: another print of the bytes that were committed with it."""

from __future__ import annotations

from dalcli.formats.batch import Sheet
from dalcli.formats.registry import BATCH_FORMATS
from dalcli.querying.request import QueryResult
from dalcli.state import batches, classes
from dalcli.workspace.session import Session

# These tools fetch images from where they are, so a bare path is no address for them.
_NEED_ADDRESSES = {"sagemaker": "s3://bucket/pool/", "labelbox": "https://host/pool/"}


def written(session: Session, result: QueryResult, format_name: str, image_url: str | None) -> bytes:
    """The batch in a format.

    All of it follows from what was committed: asked for again, it is the same bytes, whatever the model, the files or
    the class list have become; where a format lists the classes, a class that was renamed since has its new name.

    Raises:
        BadInputError: a name in the batch that the format cannot hold; the batch is open all the same.
    """
    with session.database.read() as connection:
        batch = batches.get(connection, result.batch_id)
        assert batch is not None
        known = batch.options.classes  # None: issued by a version that did not say, and printed CSV alone
        names = classes.names(connection)[:known]
    if format_name in _NEED_ADDRESSES and image_url is None:
        example = _NEED_ADDRESSES[format_name]
        session.feedback.warn(f"{format_name} needs addresses of images, these are paths: pass --image-url {example}")
    return BATCH_FORMATS[format_name].write(Sheet(result.csv, result.batch_id, batch.model or "", names, image_url))
