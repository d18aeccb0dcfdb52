"""Use cases, one verb each: claim, think, record. They are handed their judge and their clock."""
