print("primed")
