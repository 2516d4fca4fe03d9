"""Files, one module per format.

==================  ===================================================================
keypoints           Keypoints2D and Keypoints3D in HDF5, with their origin
config              config.yaml: read strictly, changed in place
config_fields       what may stand in it, with legal values
config_videos       the videos it names, and where they really are
deeplabcut          labels and predictions of DeepLabCut, in .csv and .h5
deeplabcut_csv      its .csv
pytables            pandas' layouts of HDF5, without PyTables and without pickle
sleap               SLEAP's analysis files, sleap-anipose's 3D points
tables, trc         3D points for spreadsheets, Anipose's users and OpenSim
tensors             weights, checkpoints and parts of results
hdf5                what all of them need: no links, no invented sizes, whole or absent
==================  ===================================================================
"""
