"""What one client was told, and what it does not know because the process ended before the answer."""

from collections import Counter


class Violation(Exception):
    """Something that was acknowledged is not so, or happened twice."""


class Agent:
    """An agent, as its client knows it."""

    def __init__(self, name):
        self.name = name
        # None: its creation was not acknowledged.
        self.id = None
        # Texts of messages, each acknowledged or not.
        self.messages = {}
        # Whether somebody has done anything to it since it was last looked at.
        self.is_touched = True
        # Whether a deletion was asked for, of which nothing was heard.
        self.may_be_gone = False


class Ledger:
    """All that one client knows."""

    def __init__(self):
        self.agents = []
        # Ids of agents that are gone; tokens that work, that are revoked, and of which neither is known.
        self.deleted = []
        self.deleted_lately = []
        self.live = []
        self.revoked = []
        self.revoked_lately = []
        self.acknowledged = 0
        self.unknown = 0

    def known(self):
        """The agents that are there for certain."""
        return [agent for agent in self.agents if agent.id and not agent.may_be_gone]

    def names(self):
        """The names of all agents that may be there."""
        return {agent.name for agent in self.agents}


def check_messages(agent, heard):
    """Holds what an agent has heard against what was sent to it."""
    times = Counter(heard)
    for text, is_acknowledged in agent.messages.items():
        count = times.pop(text, 0)
        if count > 1:
            raise Violation(f"{text} was sent once, and {agent.name} has heard it {count} times")
        if is_acknowledged and count == 0:
            raise Violation(f"{text} was acknowledged, and {agent.name} has not heard it")
    if times:
        raise Violation(f"{agent.name} has heard what nobody said: {times}")
