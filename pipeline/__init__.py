"""The stages, one script each, archive -> store -> run -> scores -> report. What a stage is made of is in the rooms below."""
