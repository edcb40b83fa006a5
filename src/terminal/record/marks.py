def environment(shell, nonce):
    return {}
