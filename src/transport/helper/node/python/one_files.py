# The one lane of a file service, both in and out: it starts the owner, or takes the place of a lane that was lost.
from attach import attach
from files import Files
from main import begin
from owner import own

opts, null = begin()
if "w" in opts:
    own(opts, null, Files)
else:
    attach(opts)
