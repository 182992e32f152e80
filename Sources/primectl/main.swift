print("primectl")
