"""From an SB3 file to an imported policy."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import nn

from polserve.training.environments.spaces import short
from polserve.training.errors import ImportRefused, InvalidOption
from polserve.training.imports.archives import open_archive, read_json, read_member, read_state
from polserve.training.imports.imported import Answer, ImportedPolicy, Source
from polserve.training.imports.layers import Acting
from polserve.training.imports.normalizing import read_statistics
from polserve.training.imports.places import Place
from polserve.training.imports.sb3.kinds import NAMES, OWN_MODULES, RECURRENT, Kind, algorithm_of, kind_of
from polserve.training.imports.sb3.predicting import real_predict
from polserve.training.imports.sb3.preprocessing import Preprocessing, preprocessing_for
from polserve.training.imports.sb3.rebuilding import Saved, rebuild
from polserve.training.imports.sb3.recurrent import answer_of, preferences_of, rebuild_recurrent, states_of
from polserve.training.imports.sb3.stated import ACTIVATIONS, Stated, activation_named
from polserve.training.versions.export import answers

KIND = "the .zip that stable-baselines3's or sb3-contrib's model.save() writes"
MEMBERS = ("data", "policy.pth")
VERSION = "_stable_baselines3_version"
LARGEST_VERSION = 1_000
NO_STATISTICS = "none"
"""What --normalize is where VecNormalize normalised rewards only."""
AXES_OF_STACKED_NUMBERS = 2
OWN_EXTRACTORS = ("NatureCNN", "FlattenExtractor", "CombinedExtractor")


@dataclass(frozen=True, slots=True)
class Sb3Options:
    """What a person tells of an SB3 file that it does not tell itself."""

    normalize: str = ""
    """VecNormalize's file, "none" where it normalised rewards only; "" where there was none."""
    algorithm: str = ""
    """The algorithm; "" for the one that the file tells."""
    activation: str = ""
    """The activation between layers, by torch's name; "" for the one that the file tells."""


def read_sb3(path: Path, options: Sb3Options, place: Place) -> ImportedPolicy:
    """Read an SB3 file for the environment that was named.

    Raises:
        ImportRefused: it is none, or what it holds cannot be imported.
        InvalidOption: an option does not go with it.
    """
    with open_archive(path, KIND, MEMBERS) as archive:
        stated = Stated(str(path), read_json(archive, "data"))
        state = read_state(archive, "policy.pth")
        release = _release(archive)
    kind = kind_of(stated, state)
    algorithm = algorithm_of(stated, kind, options.algorithm)
    _check_extractor(stated)
    before = _preprocessing(stated, _statistics_file(stated, kind, options), place)
    saved = Saved(stated, state, kind, _activation(stated, kind, options), before.shape, _actions(stated, place))
    acting = _acting(before, saved)
    library = "sb3-contrib" if algorithm in {"qr-dqn", "tqc", "trpo", "recurrent-ppo"} else "stable-baselines3"
    return ImportedPolicy(
        algorithm=algorithm,
        graph=acting.graph,
        observation_space=before.carried,
        emitted_space=before.emitted,
        action_space=saved.action_space,
        source=Source.of(path, f"{library} {release}".strip(), NAMES[algorithm]),
        original=acting.original,
        original_name=acting.original_name,
        preferences=acting.preferences,
        states=acting.states,
        frames=before.frames,
        settings=stated.settings(),
        seed=stated.whole("seed"),
        environment_steps=stated.whole("num_timesteps"),
        notes=_notes(before),
    )


@dataclass(frozen=True, slots=True)
class _Rebuilt:
    """A policy built anew, and what it is compared with."""

    graph: nn.Module
    original: Answer
    original_name: str
    preferences: Answer | None
    states: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def _acting(before: Preprocessing, saved: Saved) -> _Rebuilt:
    """Build the policy, with a memory where it has one."""
    if saved.kind.mark == RECURRENT:
        recurrent = rebuild_recurrent(saved, before.module())
        preferences = preferences_of(recurrent, saved.action_space)
        return _Rebuilt(recurrent, answer_of(recurrent), "torch's LSTM", preferences, states_of(recurrent))
    graph = Acting(before.module(), rebuild(saved), nn.Identity()).eval()
    return _Rebuilt(graph, *_original(before, saved, graph), _preferences(graph, saved.action_space))


def _release(archive: ZipFile) -> str:
    """Version of the library that wrote the file; "" where it does not say."""
    if VERSION not in archive.namelist():
        return ""
    text = read_member(archive, VERSION, LARGEST_VERSION).decode(errors="replace").strip()
    if not re.fullmatch(r"\d[\w.+!-]*", text):
        raise ImportRefused(f"{archive.filename}: {VERSION}: expected a version such as 2.9.0, got {text!r}")
    return text


def _original(before: Preprocessing, saved: Saved, graph: nn.Module) -> tuple[Answer, str]:
    """Original that the graph is compared with: the library's predict, or the network in torch."""
    found = real_predict(saved, before.space, is_scaled=before.is_scaled)
    if found is None:
        return lambda observations: answers(graph, observations)["action"], "the network rebuilt in torch"
    predict, name = found
    return lambda observations: predict(before.apply(observations)), name


def _preferences(graph: Acting, actions: gym.Space[Any]) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
    """Scores that the arg-max is taken of, where actions are discrete."""
    if not isinstance(actions, Discrete):
        return None
    *layers, choose = graph.network.children()
    before_choice = Acting(graph.preprocessing, nn.Sequential(*layers), nn.Identity()).eval()

    def preferences(observations: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            scores = before_choice(torch.from_numpy(observations))
            chosen = choose(scores)
        return np.asarray((chosen[1] if isinstance(chosen, tuple) else scores).numpy())

    return preferences


def _actions(stated: Stated, place: Place) -> gym.Space[Any]:
    """Actions of the environment, whose bounds are exact, where they are like those in the file."""
    own = stated.space("action_space")
    if place.facts is None:
        return own
    theirs = place.facts.action_space
    is_alike = isinstance(theirs, Box) and theirs.shape == own.shape if isinstance(own, Box) else bool(theirs == own)
    if not is_alike:
        raise ImportRefused(
            f"{stated.file}: the policy acts in {short(own)}, and {place.environment.id} takes {short(theirs)}; name "
            "the environment that it was trained in, with its wrappers"
        )
    return theirs


def _activation(stated: Stated, kind: Kind, options: Sb3Options) -> type[nn.Module]:
    """Activation that was asked for, else the one that the file tells."""
    if options.activation:
        try:
            return activation_named(options.activation)
        except KeyError as error:
            known = ", ".join(ACTIVATIONS)
            raise InvalidOption(f"--activation: expected one of {known}, got {options.activation!r}") from error
    if not stated.policy_module.startswith(OWN_MODULES):
        raise ImportRefused(
            f"{stated.file}: the policy is of a class of your own ({stated.policy_module or 'unknown'}), whose "
            "activation the file does not tell; give --activation, such as --activation relu"
        )
    if "activation_fn" not in stated.policy_kwargs:
        return activation_named(kind.activation)
    text = stated.policy_kwargs["activation_fn"]
    module, _, name = stated.class_of(text).rpartition(".")
    if not module.startswith("torch.nn.") or name.lower() not in ACTIVATIONS:
        raise ImportRefused(
            f"{stated.file}: activation_fn: expected an activation of torch.nn, got {text!r}; give --activation, such "
            "as --activation relu"
        )
    return activation_named(name)


def _check_extractor(stated: Stated) -> None:
    """Raise ImportRefused where the file states a features extractor that is not the library's."""
    stated_class = stated.policy_kwargs.get("features_extractor_class")
    if stated_class is None:
        return
    module, _, name = stated.class_of(stated_class).rpartition(".")
    if not module.startswith(OWN_MODULES) or name not in OWN_EXTRACTORS:
        raise ImportRefused(
            f"{stated.file}: features_extractor_class: expected {' or '.join(OWN_EXTRACTORS)}, got {stated_class!r}, "
            "whose code is not in the file; export the network with polserve.export(module, ...)"
        )


def _preprocessing(stated: Stated, path: Path | None, place: Place) -> Preprocessing:
    """Everything before the network, VecNormalize's statistics included."""
    facts = place.facts
    emitted, carried = (facts.emitted_space, facts.observation_space) if facts else (None, None)
    own = stated.space("observation_space") if emitted is None or not stated.is_dict("observation_space") else emitted
    is_scaled = bool(stated.policy_kwargs.get("normalize_images", True))
    before = preprocessing_for(stated.file, own, emitted, carried, is_scaled=is_scaled)
    statistics = None if path is None else read_statistics(path)
    if statistics is None:
        return before
    shape = before.carried.shape
    if before.arrangement and statistics.mean.shape == before.shape and len(shape) == AXES_OF_STACKED_NUMBERS:
        statistics = statistics.shaped(shape)  # of numbers stacked in a row
    if before.arrangement is None or statistics.mean.shape not in {shape, shape[1:]}:
        raise ImportRefused(
            f"{path}: expected statistics of observations {shape}, got {statistics.mean.shape}; "
            f"{stated.file} takes {short(own)}"
        )
    return replace(before, statistics=statistics)


def _statistics_file(stated: Stated, kind: Kind, options: Sb3Options) -> Path | None:
    """File of VecNormalize's statistics; None where observations were not normalised."""
    if options.normalize.lower() == NO_STATISTICS:
        return None
    # NOTE: algorithms with a replay buffer state this observation whether it was normalised or not.
    is_told = kind.is_discrete is None and stated.content.get("_last_original_obs") is not None
    if is_told and not options.normalize:
        raise ImportRefused(
            f"{stated.file}: the policy was trained with VecNormalize, whose statistics are in a file of their own; "
            f"give --normalize vecnormalize.pkl, or --normalize {NO_STATISTICS} if it normalised rewards only"
        )
    return Path(options.normalize) if options.normalize else None


def _notes(before: Preprocessing) -> tuple[str, ...]:
    if not before.frames:
        return ()
    stack = f"the policy sees {before.frames} frames: the service keeps the stack in an Episode"
    return (f"{stack}, and fills it with the first frame, where VecFrameStack begins with zeros",)
