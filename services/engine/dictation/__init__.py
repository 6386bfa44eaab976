"""Models that write what a recording in their prompt says, when they are asked for it.

manner      how a kind of model is asked, and how its answer is read; `manners` has those that are known
dictation   a loaded model with its manner: prompts of samples
"""
