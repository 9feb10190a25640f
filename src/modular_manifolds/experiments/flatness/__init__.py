"""How flat the loss is where training ends."""
