"""What a conforming VTEP does, row by row, as traffic: the same frames for the gateway and for the kernel's vxlan.

                     +----------+
    access0 ---------|  device  |--------- uplink      two remote VTEPs, played by the test
    access1 ---------|          |
                     +----------+

The far end of each wire is a raw socket of the test: it plays the hosts behind the access ports and the remote VTEPs, so
that what is sent and what comes out is known to the byte. One bridge, VNI 100, joins the untagged frames of both access
ports with the tunnel.
"""
