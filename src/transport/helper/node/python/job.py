# What an owner runs. It never asks which job it has: it calls these, and a job does what concerns it.
#
#   Owner ── begin, take_input, end_input, take_line, take_variables, resize, signal ──▶ Job    what the gateway said
#         ── interests, has_work, event, work, reap ──────────────────▶          the loop
#         ── is_over, hang_up, left, abandon ─────────────────────────▶          the end
#   Owner ◀── data, end, exit, took, fault, watch, room, may_send ──── Job


class Job:
    # which of standard output (o) and error (e) it has
    streams = b"oe"

    # when work() must be called at the latest
    next_at = float("inf")

    # how many seconds an end takes at most, from the hang-up on
    longest_end = 20

    def __init__(self, owner, opts):
        self.owner = owner
        self.opts = opts
        self.input_ended = False

    def begin(self, text):
        # the lanes are there; text is the second argument of the document
        raise NotImplementedError

    def take_input(self, payload):
        # says owner.took() of it, now or later
        raise NotImplementedError

    def end_input(self):
        raise NotImplementedError

    def take_line(self, part):
        # a part of a command line too long for the document; an empty one ends it
        pass

    def take_variables(self, text):
        # what the options say is to come: name=value, each with a NUL behind it
        pass

    def resize(self, size):
        # four numbers of 16 bits: columns, rows, and both in pixels
        pass

    def signal(self, name):
        pass

    def close_stdout(self):
        # nobody reads it any more
        pass

    def interests(self, may_send):
        # tells owner.watch() what it waits for; output only if there is room to send it
        pass

    def has_work(self):
        # whether work() should be called again without waiting for an event
        return False

    def event(self, fd, event):
        pass

    def work(self):
        # after every round of events
        pass

    def reap(self):
        # a child may have ended
        pass

    def is_over(self):
        # whether all is said once its streams have ended
        return True

    def hang_up(self):
        pass

    def left(self):
        # the processes that a hang-up has not ended yet
        return []

    def abandon(self):
        # the owner has failed, and nobody will look after what runs
        pass
