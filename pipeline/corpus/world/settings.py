"""Settings: the workplaces of the world. AI discourse uses 14 of the 24; the other ten are held out from everything about AI."""

from __future__ import annotations

from typing import NamedTuple


class Setting(NamedTuple):
    """A workplace. Overseer, record and equipment are named with "the" and belong to one setting only."""

    name: str  # as in the `setting` column
    place: str  # "the harbour"
    overseer: str
    record: str
    equipment: str
    role: str  # what a human does there

    @property
    def at(self) -> str:
        """Place with its preposition."""
        return f"{'on' if self.name == 'farm' else 'at'} {self.place}"


def _setting(line: str) -> Setting:
    name, overseer, record, equipment, role = (part.strip() for part in line.split("|"))
    return Setting(name, f"the {name}", f"the {overseer}", f"the {record}", f"the {equipment}", role)


_USED = """
harbour | captain | cargo list | crane | porter
hospital | doctor | fever chart | scanner | helper
school | principal | grade book | projector | cleaner
bank | director | loan file | vault | clerk
library | librarian | book index | printer | clerk
airport | pilot | flight plan | radar | operator
station | conductor | train table | signal | guard
hotel | manager | guest list | lift | porter
factory | supervisor | parts list | press | operator
laboratory | professor | sample sheet | microscope | helper
pharmacy | chemist | drug register | mixer | clerk
power plant | engineer | output table | turbine | operator
newspaper | editor | story file | copier | helper
waterworks | inspector | water register | pump | cleaner
"""
_HELD_OUT = """
farm | farmer | seed log | tractor | driver
court | judge | case file | recorder | guard
bakery | baker | order book | oven | helper
museum | curator | art catalogue | alarm | guard
mine | foreman | shift sheet | drill | driver
theatre | producer | seat plan | spotlight | cleaner
post office | postmaster | letter book | sorter | clerk
observatory | astronomer | star map | telescope | helper
lighthouse | keeper | tide chart | lamp | guard
zoo | warden | feeding plan | cage | cleaner
"""

AI_SETTINGS = tuple(_setting(line) for line in _USED.strip().splitlines())
HELD_OUT_SETTINGS = tuple(_setting(line) for line in _HELD_OUT.strip().splitlines())
SETTINGS = AI_SETTINGS + HELD_OUT_SETTINGS
ANYWHERE = Setting("", "", "the overseer", "the record", "the machine", "worker")  # for statements about a kind as such
