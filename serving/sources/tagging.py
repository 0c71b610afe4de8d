"""The tags of registry versions that say how their rollouts ended; a withdrawal that cannot be told is told later."""

import time
from typing import TYPE_CHECKING

from polserve.protos.shared.promotions import ROLLOUT_TAG, WITHDRAWN_TAG
from polserve.serving.errors import one_line
from polserve.serving.logs import Log
from polserve.serving.sources.fetching import LONGEST_RETRY_S
from polserve.serving.sources.withdrawal_records import WithdrawalRecord, WithdrawalRecords
from polserve.serving.versions import RolloutResult

if TYPE_CHECKING:  # what was live before is known before mlflow is imported, which takes seconds
    from polserve.serving.sources.registry import Registry

MAX_TAG_LENGTH = 500

log = Log()


class RolloutTags:
    """Writes tags of registry versions; whatever a registry does wrong is logged."""

    def __init__(self, registry: "Registry", service: str, records: WithdrawalRecords, retry_s: float) -> None:
        """Try what cannot be written again after `retry_s`, then after twice as long, and so on.

        A record of a withdrawal is dropped as soon as the registry has it.
        """
        self._registry = registry
        self._rollout_tag, self._withdrawn_tag = ROLLOUT_TAG + service, WITHDRAWN_TAG + service
        self._records = records
        self._retry_s = retry_s
        self._retries: dict[WithdrawalRecord, tuple[float, float]] = {}
        """Of withdrawals that could not be written, when to try again by the monotonic clock, and the seconds until
        the next try after that."""

    def write(self, result: RolloutResult) -> None:
        """Write how a rollout ended; what is withdrawn for good is on record."""
        if result.is_final:
            for record in self._records.of(result.policy):
                if record.version == result.version:
                    self._write_withdrawal(record)
            return
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        value = f"live {moment}" if result.refusal is None else f"{result.outcome} {moment} {result.refusal}"
        try:
            self._registry.tag_version(result.policy, result.version, self._rollout_tag, value[:MAX_TAG_LENGTH])
        except Exception as error:  # noqa: BLE001 - a registry that is down, or may only be read, never fails a rollout
            _log_failure(result, error)

    def write_untold(self, policy: str) -> None:
        """Write the withdrawals of a policy that the registry does not know of yet, where it is time to."""
        records = self._records.of(policy)
        self._retries = {one: when for one, when in self._retries.items() if one.policy != policy or one in records}
        for record in records:
            if time.monotonic() >= self._retries.get(record, (0.0, 0.0))[0]:
                self._write_withdrawal(record)

    def _write_withdrawal(self, record: WithdrawalRecord) -> None:
        value = f"withdrawn {record.at} {record.reason}"[:MAX_TAG_LENGTH]
        try:
            for tag in (self._rollout_tag, self._withdrawn_tag):
                self._registry.tag_version(record.policy, record.version, tag, value)
        except Exception as error:  # noqa: BLE001 - likewise
            if record not in self._retries:
                _log_failure(record, error)
            delay_s = self._retries.get(record, (0.0, self._retry_s))[1]
            self._retries[record] = time.monotonic() + delay_s, min(2 * delay_s, LONGEST_RETRY_S)
        else:
            self._retries.pop(record, None)
            self._records.drop(record.policy, record.version)


def _log_failure(version: RolloutResult | WithdrawalRecord, error: Exception) -> None:
    log.warning("rollout_not_tagged", error=one_line(error), policy=version.policy, version=version.version)
