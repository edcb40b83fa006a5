# The one lane of a command, both in and out. It can't be taken over, so there is nothing to join.
from command import Command
from main import begin
from owner import own

opts, null = begin()
own(opts, null, Command)
