"""A pytest plugin: the SDK tests, as they are, with the model as Letta knows it."""

import os

import stainless

stainless.MODELS["model"] = os.environ["SDK_MODEL"]
