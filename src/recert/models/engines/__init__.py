"""What runs a model: in this process, in vLLM, in Ray's workers, in llama.cpp. Read `engine.py` first."""
