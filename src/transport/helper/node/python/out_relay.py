# The out lane of a relay: it starts the owner, or takes the place of a lane that was lost.
from attach import attach
from main import begin
from owner import own
from relay import Relay

opts, null = begin()
if "w" in opts:
    own(opts, null, Relay)
else:
    attach(opts)
