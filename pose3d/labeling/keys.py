"""The keymap: what each key does, and a project's own choice of keys."""

from pathlib import Path

import yaml

from calibration.errors import DataError

#: Action, its key, and what it does; the page shows them in this order on "?".
ACTIONS = {
    "next_moment": ("e", "Next frame"),
    "previous_moment": ("q", "Frame before"),
    "next_unlabelled": ("n", "Next frame with points missing"),
    "next_order": ("o", "Next order of frames"),
    "next_keypoint": ("s", "Next keypoint"),
    "previous_keypoint": ("w", "Keypoint before"),
    "next_individual": ("i", "Next individual"),
    "next_view": ("Tab", "Next view"),
    "previous_view": ("Shift+Tab", "View before"),
    "place": ("Enter", "Place the keypoint: where it is offered, else in the middle of the view"),
    "accept_offers": ("Space", "Accept the keypoint's offers in all views, go on to the next"),
    "accept_offer": ("t", "Accept the keypoint's offer in this view"),
    "accept_frame": ("a", "Accept everything that is offered in this frame"),
    "occluded": ("x", "Occluded, then absent, then neither"),
    "clear": ("Delete", "Clear the keypoint in this view"),
    "clear_all": ("Shift+Delete", "Clear the keypoint in all views"),
    "undo": ("Ctrl+z", "Undo"),
    "redo": ("Ctrl+y", "Redo"),
    "swap": ("l", "Exchange left and right in this view"),
    "swap_all": ("Shift+L", "Exchange left and right in all views"),
    "copy": ("c", "Copy the points that are missing from the labelled frame before"),
    "flow": ("f", "Offer the points of the labelled frame before, carried here by optical flow"),
    "flow_back": ("Shift+F", "Offer the points of the labelled frame after, carried here"),
    "context": ("v", "Five frames around this one, from the video, while held"),
    "video_back": (",", "Look one frame back in the videos"),
    "video_on": (".", "Look one frame on in the videos"),
    "video_far_back": ("<", "Look one second back in the videos"),
    "video_far_on": (">", "Look one second on in the videos"),
    "add_moment": ("p", "Add the moment that is looked at to the frames to label"),
    "leave_video": ("Escape", "Back from the videos to the frame that is labelled"),
    "left": ("ArrowLeft", "Move the point by half a pixel (with Shift: 5)"),
    "right": ("ArrowRight", "Move the point to the right"),
    "up": ("ArrowUp", "Move the point upwards"),
    "down": ("ArrowDown", "Move the point downwards"),
    "zoom_in": ("+", "Zoom in"),
    "zoom_out": ("-", "Zoom out"),
    "zoom_keypoint": ("z", "Zoom all views on the keypoint"),
    "whole": ("0", "Show whole images"),
    "hide": ("h", "Hide labels while held"),
    "magnify": ("m", "Magnifier while held"),
    "advance": ("g", "Go on to the next keypoint after: each click, or accepting"),
    "brighter": ("]", "Brighter (this view)"),
    "darker": ("[", "Darker (this view)"),
    "contrast_more": ("}", "More contrast (this view)"),
    "contrast_less": ("{", "Less contrast (this view)"),
    "gamma_more": (")", "Lighten shadows (this view)"),
    "gamma_less": ("(", "Darken shadows (this view)"),
    "help": ("?", "Show or hide the keys"),
}

#: Name of a project's own keymap, beside config.yaml.
FILE = "label-keys.yaml"


def load_keys(folder: Path) -> dict[str, str]:
    """Return the key of each action, a project's own choice counting.

    Parameters
    ----------
    folder : Path
        The project; its ``label-keys.yaml`` maps actions to keys, such as ``undo: u``.

    Raises
    ------
    DataError
        If the file cannot be read, names an action that is none, or gives a key twice.
    """
    keys = {action: key for action, (key, _) in ACTIONS.items()}
    path = folder / FILE
    if not path.is_file():
        return keys
    try:
        own = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no YAML ({error}). Write lines such as 'undo: u'.") from None
    if not isinstance(own, dict):
        raise DataError(f"{path} is no mapping. Write lines such as 'undo: u'.")
    for action, key in own.items():
        if action not in ACTIONS:
            raise DataError(f"{path} names the action {action!r}; they are {', '.join(ACTIONS)}.")
        keys[action] = str(key)
    for action, key in keys.items():
        twin = next((a for a, k in keys.items() if k == key and a != action), None)
        if twin:
            raise DataError(
                f"{path}: the key {key!r} would do both {action} and {twin}. Give one another key."
            )
    return keys
