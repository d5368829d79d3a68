"""Error messages of onnxruntime for people."""

from __future__ import annotations

import re

from mquans.files import printable


def explained(error: Exception) -> str:
    """What onnxruntime complains of, as one sentence without places in its own source."""
    text = " ".join(str(error).split())
    text = re.sub(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^.*Status Message: ", "", text)
    text = re.sub(r"^Exception during initialization: (.* was false\. (?=.)|.*[)\]] )", "", text)
    text = re.sub(r"^Node \(.*?\) Op \(.*?\) ", "", text)
    text = re.sub(r"^This is an invalid model\. In Node, .* , Error ", "", text)
    text = re.sub(r"^\S*/onnxruntime/\S+ ", "", text)
    return printable(text, limit=300).rstrip(".") + "."
