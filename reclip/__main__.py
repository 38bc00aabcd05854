from reclip.cli import main

main()
