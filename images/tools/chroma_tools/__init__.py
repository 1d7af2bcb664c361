"""What runs beside Chroma in a cluster: backup, restore, canary, guard. No part of the package chroma_qualify."""
