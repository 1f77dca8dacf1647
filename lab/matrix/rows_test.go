//go:build matrix

package matrix

import "slices"

// rows returns all rows of the matrix.
func rows() []row {
	all := slices.Concat(registryRows(), loginRows(), resolverRows(), dialRows(), tlsRows(), mirrorRows(), blobRows(), proxyRows(), nodeRows(),
		rivalRows(), requestRows(), foreignRows(), sendRows(), unseenRows(), cloudRows(), detourRows(), fixRows(), hardRows(), machineRows(),
		sourceRows(), nameRows())
	return append(all, oldRows(all)...)
}
