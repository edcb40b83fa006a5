# The one lane of a file service, both in and out. It can't be taken over, so there is nothing to join.
from files import Files
from main import begin
from owner import own

opts, null = begin()
own(opts, null, Files)
