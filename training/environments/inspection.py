"""A look at an environment before hours are spent in it: one reset, a few steps, and what its user should know."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.layout import Layout
from polserve.protos.tensors import DTYPES
from polserve.training.environments.beneath import Beneath, check_does_the_same
from polserve.training.environments.checked import Checked
from polserve.training.environments.descriptions import Description, describe
from polserve.training.environments.faults import OLD_RESET, RESET, Fault, OddValue, raised, reset_of, step_of
from polserve.training.environments.layouts import layout_of, parts_of
from polserve.training.environments.limits import MAX_EVALUATION_STEPS
from polserve.training.environments.making import OWN_NAMESPACE, EnvironmentSpec, has_vectorised, make_env
from polserve.training.environments.space_messages import described_actions
from polserve.training.environments.spaces import observation_box
from polserve.training.environments.transforms import Transform
from polserve.training.environments.wrapper_notes import client_wrappers, on_rewards, on_wrappers
from polserve.training.environments.wrappers import layers, step_limit
from polserve.training.errors import FaultyEnvironment, UnsupportedEnvironment

CheckSpaces: TypeAlias = Callable[[Box, gym.Space[Any]], None]

STEPS = 3
"""Random steps that an environment is tried for."""
EPISODES, LONGEST = 3, 100
"""Episodes that are played where none has to end, and the steps that each may take, until it is plain that they do."""
ENDLESS = (
    "an episode that does not end by itself goes on for ever in training, and is cut off in an evaluation, after "
    f"{MAX_EVALUATION_STEPS:,} steps unless told otherwise (max_evaluation_steps in training, max_steps elsewhere); "
    "gymnasium.register(..., max_episode_steps=N) ends it"
)


def accept_spaces(_observations: Box, _actions: gym.Space[Any]) -> None:
    """Take any spaces."""


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """Everything about an environment that a run needs to know, looked at once."""

    observation_space: Box
    """Observations as a policy version carries them."""
    action_space: gym.Space[Any]
    description: Description
    """Names and units of observations and actions."""
    cautions: tuple[str, ...]
    """What returns in this environment do not mean, or take; a sentence each."""
    notes: tuple[str, ...]
    """What its policy's callers and its author should know, likewise."""
    spec_part: pb.PolicySpec
    """What the spec of its policies has beside this."""
    emitted_space: gym.Space[Any] | None = None
    """Space that one observation, or one frame of a stack, is laid out from; None where the environment emits a Box."""
    frames: int = 0
    """Length of the stack of frames that the service keeps."""
    graph_wrappers: tuple[str, ...] = ()
    """Wrappers whose work on observations the graph does, from the innermost."""
    client_wrappers: tuple[str, ...] = ()
    """Wrappers whose work on observations the policy's callers do."""
    client_action_wrappers: tuple[str, ...] = ()
    """Wrappers whose work on actions the policy's callers do."""
    transforms: tuple[Transform, ...] = ()
    """What the graph does in place of its wrappers."""
    learned_space: Box | None = None
    """Observations as those wrappers make them; None where there are none."""
    highest_met: float = 0.0
    """Highest number of the observations that were looked at; 0 where none is above it."""

    @property
    def layout(self) -> Layout | None:
        """Layout of the observations; None where the environment emits a Box."""
        return None if self.emitted_space is None else layout_of(self.emitted_space)


def inspect_environment(
    spec: EnvironmentSpec,
    check_spaces: CheckSpaces = accept_spaces,
    spec_part: Callable[[gym.Env[Any, Any]], pb.PolicySpec] = lambda _env: pb.PolicySpec(),
) -> EnvironmentFacts:
    """Look at the environment in two resets and a few random steps.

    Args:
        spec: which environment.
        check_spaces: raises TrainingError where its observations and actions will not do, which is told first.
        spec_part: what the spec of its policies has beside what its spaces tell.

    Raises:
        TrainingError: it cannot be made, nothing can learn from its observations, or it does not keep to Gymnasium's
            API or to its own spaces.
    """
    env = make_env(spec)
    try:
        box = observation_box(env.observation_space, spec.id)
        check_spaces(box, env.action_space)
        description = describe(spec.id, env)
        bare = next((layer for layer in layers(env) if isinstance(layer, Beneath)), None)
        transforms = bare.transforms if bare else ()
        is_repeatable, highest = _try(spec, env, bare)
        cautions = [*_on_length(spec, env), *on_rewards(spec, env)]
        if not is_repeatable:
            cautions.append(
                f"{spec.id}: two resets with one seed gave two observations, so that no evaluation can be repeated: "
                "call super().reset(seed=seed) and draw from self.np_random"
            )
        is_compared = not spec.frames and not spec.graph_wrappers
        if spec.registered.vector_entry_point and is_compared and not has_vectorised(spec):
            cautions.append(f"{spec.id}: its vectorised implementation has other spaces, so that it is not used")
        before, after = client_wrappers(spec, env)
        return EnvironmentFacts(
            observation_space=box,
            action_space=env.action_space,
            description=description,
            cautions=tuple(cautions),
            notes=(*description.left_out, *on_wrappers(spec, env, before, after)),
            spec_part=spec_part(env),
            emitted_space=_emitted_space(env),
            frames=spec.frames,
            graph_wrappers=spec.graph_wrappers if bare else (),
            client_wrappers=before,
            client_action_wrappers=after,
            transforms=transforms,
            learned_space=observation_box(bare.env.observation_space, spec.id) if bare else None,
            highest_met=highest,
        )
    finally:
        env.close()


def _emitted_space(env: gym.Env[Any, Any]) -> gym.Space[Any] | None:
    """Space that our checks lay observations out from; None where that is a Box."""
    checked = next(layer for layer in layers(env) if isinstance(layer, Checked))
    return None if checked.layout is None else checked.env.observation_space


def check_fits(spec: EnvironmentSpec, policy: pb.PolicySpec) -> tuple[str, ...]:
    """Check that a policy can play in the environment; return what its returns there do not mean.

    Raises:
        UnsupportedEnvironment: it cannot: observations or actions are others.
        TrainingError: as `inspect_environment`.
    """

    def check(box: Box, actions: gym.Space[Any]) -> None:
        _check_same_spaces(spec, policy, box, actions)

    facts = inspect_environment(spec, check)
    _check_same_parts(spec, policy, facts)
    return facts.cautions


def _check_same_spaces(spec: EnvironmentSpec, policy: pb.PolicySpec, box: Box, actions: gym.Space[Any]) -> None:
    dtype, shape = DTYPES[policy.observation.dtype].name, tuple(policy.observation.shape)
    ours, theirs = _action_kind(policy.action), _action_kind(described_actions(actions, Description(), spec.id))
    if (box.dtype.name, box.shape) != (dtype, shape) or ours not in {theirs, NO_ACTIONS}:
        wanted, got = f"{dtype} {shape} and {ours}", f"{box.dtype.name} {box.shape} and {theirs}"
        raise UnsupportedEnvironment(f"{policy.name} cannot play {spec.id}: expected {wanted}, got {got}")


def _check_same_parts(spec: EnvironmentSpec, policy: pb.PolicySpec, facts: EnvironmentFacts) -> None:
    """Raise UnsupportedEnvironment where the environment lays out other parts than the policy was trained on."""
    wanted = list(policy.observation.parts)
    got = [] if facts.emitted_space is None else parts_of(facts.emitted_space)
    if wanted and got and wanted != got:
        shown = [", ".join(".".join(part.path) or "one part" for part in parts) for parts in (wanted, got)]
        raise UnsupportedEnvironment(
            f"{policy.name} cannot play {spec.id}: expected observations of {shown[0]}, got {shown[1]}, or "
            "other values of them"
        )


NO_ACTIONS = "no actions"


def _action_kind(action: pb.ActionSpec) -> str:
    """Space of actions in words, without what does not keep a policy from playing, such as bounds."""
    match action.WhichOneof("space"):
        case "discrete":
            start = f", start={action.discrete.start}" if action.discrete.start else ""
            return f"Discrete({action.discrete.n}{start})"
        case "multi_discrete":
            space = action.multi_discrete
            start = f", start={list(space.start)}" if any(space.start) else ""
            shape = f" of shape {tuple(space.shape)}" if space.shape else ""
            kind = "MultiBinary" if space.is_binary else "MultiDiscrete"
            return f"{kind}({len(space.n) if space.is_binary else list(space.n)}{start}){shape}"
        case "continuous":
            space_of_floats = action.continuous
            n = len(space_of_floats.low)
            return f"{n} actions in a Box" if n else NO_ACTIONS
        case _:
            return NO_ACTIONS


def _try(spec: EnvironmentSpec, env: gym.Env[Any, Any], bare: Beneath | None) -> tuple[bool, float]:
    """Reset twice and step; whether both resets with one seed gave one observation, and the highest number met."""
    env.action_space.seed(0)
    try:
        first = np.array(env.reset(seed=0)[0])  # a copy: an environment may write into what it gave
        is_repeatable = np.array_equal(first, env.reset(seed=0)[0])
        highest = np.max(first, initial=0)
        for _ in range(STEPS):
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            highest = max(highest, np.max(observation, initial=0))
            if bare:
                check_does_the_same(spec.id, bare)
            if terminated or truncated:
                env.reset()
    except FaultyEnvironment as fault:
        if isinstance(fault.__cause__, OddValue):  # which says at which step
            raise
        raise (_inner_fault(spec.id, env) or fault) from fault
    return is_repeatable, float(highest)


def _inner_fault(environment_id: str, env: gym.Env[Any, Any]) -> FaultyEnvironment | None:
    """Error of the innermost faulty layer, of which those around it only feel the effect."""
    for layer in layers(env):
        if isinstance(layer, Checked):
            return None
        prefix = f"{type(layer).__name__}." if isinstance(layer, gym.Wrapper) else ""
        call = "reset"
        try:
            _check_signature(layer)
            reset_of(layer.reset(seed=0, options=None))
            call = "step"
            step_of(layer.step(layer.action_space.sample()))
        except Fault as fault:
            return FaultyEnvironment(f"{environment_id}: {prefix}{call} {fault}")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an environment of the user's own raises
            return raised(environment_id, f"{prefix}{call}", error)
    return None


def _check_signature(layer: gym.Env[Any, Any]) -> None:
    """Raise Fault where the layer's reset does not take what Gymnasium gives it."""
    parameters = inspect.signature(layer.reset).parameters.values()
    names = {parameter.name for parameter in parameters}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    if missing := [name for name in ("seed", "options") if name not in names and not takes_any]:
        raise Fault(f"does not take {' and '.join(missing)}, Gymnasium's {RESET}; {OLD_RESET}")


def _on_length(spec: EnvironmentSpec, env: gym.Env[Any, Any]) -> list[str]:
    is_limited = step_limit(env) or spec.id.startswith(OWN_NAMESPACE) or "max_num_frames_per_episode" in _kwargs(env)
    if is_limited or _lasts_alike(env):
        return []
    return [f"{spec.id} has no max_episode_steps: {ENDLESS}"]


def _lasts_alike(env: gym.Env[Any, Any]) -> bool:
    """Whether a few episodes of random actions end by themselves, soon and all after the same number of steps.

    Where they last for different times, what the agent does may matter, and a better one may go on for ever. Actions
    and episodes are the same each time that one looks.
    """
    env.action_space.seed(0)
    try:
        first = _length(env, seed=0)
        return first is not None and all(_length(env, seed) == first for seed in range(1, EPISODES))
    except FaultyEnvironment:  # training says it, with the step
        return False


def _length(env: gym.Env[Any, Any], seed: int) -> int | None:
    """Play an episode of random actions; return its steps, None where it goes on for too long."""
    env.reset(seed=seed)
    for steps in range(1, LONGEST + 1):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            return steps
    return None


def _kwargs(env: gym.Env[Any, Any]) -> dict[str, Any]:
    return env.unwrapped.spec.kwargs if env.unwrapped.spec else {}
