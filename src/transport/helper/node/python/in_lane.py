# An in lane: it only joins an owner, whatever that owner's job is.
from attach import attach
from main import begin

opts, null = begin()
attach(opts)
