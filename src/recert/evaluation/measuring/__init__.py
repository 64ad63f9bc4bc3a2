"""How both arms are asked: conditions, speech, checks that each arm is the model it claims to be."""
