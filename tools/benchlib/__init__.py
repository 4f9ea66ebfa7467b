"""The bench behind `tools/bench`: the proxy beside its peers, in one run on one machine.

`__main__` reads the command line and runs a suite; a suite (`http1`, later others) is a list of
parts; a part starts servers (`servers`), drives them with small C programs (`native`), and puts
figures into `results`, which `report` prints. A slow figure is a figure; a wrong byte is a failure.
"""
