"""What an operator asks of a running bot: a socket in its state folder, the commands that it takes, and who may ask.

`server` is the bot's side and `client` that of the command line; both speak `protocol`. Nothing is imported here, since
a command that halts a bot has no time to load the bot's side.
"""
