"""``init`` where there is a workspace already: nothing is made twice, and new files come in."""

from __future__ import annotations

from dalcli.config.schema import Config
from dalcli.config.words import counted
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.state import classes
from dalcli.state.workspace import Workspace
from dalcli.workspace.init_request import InitRequest, InitResult, result_of
from dalcli.workspace.model_choice import asked_for
from dalcli.workspace.registration import add_images, tell
from dalcli.workspace.session import contains_in_order, load_config, open_session


def bring_up_to_date(workspace: Workspace, request: InitRequest, feedback: Feedback) -> InitResult:
    """``init`` in an existing workspace: the same request changes nothing, new files come in.

    Raises:
        BadInputError: the request contradicts the workspace, or something is wrong with the images or their labels.
    """
    with open_session(workspace.root, feedback) as session:
        if request.config is not None and load_config(request.config) != session.config:
            raise BadInputError(
                f"{workspace.config_path}: differs from {request.config}",
                "the workspace already exists: edit its dalcli.yaml instead",
            )
        with session.database.read() as connection:
            owned, spellings = classes.names(connection), classes.spellings(connection)
        if request.classes is not None and not contains_in_order(spellings, request.classes):
            raise BadInputError(
                f"--classes {','.join(request.classes)} contradicts the workspace's {','.join(owned)}",
                "new classes come in with ingest-labels --allow-new-classes",
            )
        if request.classes is not None and tuple(request.classes) != owned:  # as its first `init` said it, or mistaken
            feedback.note(f"--classes changes nothing: its {len(owned)} classes stay what they are")
        asked = asked_for(Config(), request.model, request.weights).model
        if asked.model_fields_set and asked != session.config.model:
            raise BadInputError(
                f"{workspace.config_path}: model: differs from what --model and --weights ask for",
                "the workspace already exists: edit its dalcli.yaml instead",
            )
        result = add_images(session, request.sources, request.test, request.labels_from_folders)
        feedback.note(f"{workspace.root} is already a workspace; {counted(result.new_samples, 'new sample')}")
        tell(result, feedback)
    return result_of(workspace, session.config)
