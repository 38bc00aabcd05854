"""Advice for a training that went wrong."""

from __future__ import annotations

from reclip.config.models import OptimiserSettings


def lower_rate(section: str, settings: OptimiserSettings) -> str:
    """Return the advice for a training whose loss rises, without a full stop.

    On `mini`, batch 1 at lr 0.01 and batch 16 at lr 0.16 diverge; batch 1 at lr 0.0005 does not.
    """
    said = f"Lower {section}.lr ({settings.lr:g}), e.g. to {settings.lr / 20:.1g}"
    usual = type(settings).model_fields["batch"].default
    more = f", or raise {section}.batch ({settings.batch}) to {usual}"
    return said + more * (settings.batch < usual)
