"""The stages (archive -> store -> run -> scores -> report) and the command line over them."""
