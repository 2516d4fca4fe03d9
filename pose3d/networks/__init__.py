"""2D networks in TensorFlow: the only place that imports it.

=============  ====================================================================
spec           what a network is, in a few words; no TensorFlow needed
architecture   models by name; `backbones` are their bodies
weights        weights by name, pretrained ones too
storage        trained networks in folders
images         images at a network's scale, and points there and back
augmentation   crops that are turned, scaled and moved with their labels
batches        labelled images, seeded batches
losses         what a network is punished for
training       steps, averaged weights; `checkpoints` survive a kill
inference      from images to keypoints
export         graphs for other programs: SavedModel, ONNX, OpenVINO
live           from frames as they come to keypoints, with latency; `runners` load what it runs
engines        ways to run a network, tried against each other; `folding`, `following`
running        one process at a time, ended without leaving work half done
=============  ====================================================================
"""
